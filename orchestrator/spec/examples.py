"""What `init` writes: a table and a YAML spec that are valid as they are."""

from __future__ import annotations

CSV = """\
id,prompt,size,duration,x_note
rain,A silver sports car drives through neon-lit rain,16:9,5,the opening
kite,"A red kite over a green hill, in the wind",9:16,5,
loaf,Bread rises in an oven seen through its window,1:1,10,for the bakery
"""

YAML = """\
# yaml-language-server: $schema=./spec.schema.json
# A spec: `orchestrator validate seasons.yaml` checks it, `orchestrator plan seasons.yaml` tells
# what it would cost. Neither sends anything.
name: seasons
budget: 5.00          # USD; no row is sent that could pass it
retries: 1            # buy anew, so often, what the provider reports as failed

defaults:             # for every row that does not say otherwise
  mode: std
  negative_prompt: text, watermark

items:                # rows one by one: a text is a prompt
  - A title card of falling leaves
  - {id: outro, prompt: An empty park bench, size: 1:1, mode: pro, audio: true}

prompts:              # lists multiply: each prompt in each size and duration
  - A meadow in spring, bees over clover
  - A beach in summer, heat shimmering
sizes: [16:9, 9:16]
durations: [5, 10]
exclude:              # but not these
  - {size: 9:16, duration: 10}
# takes: 2            # every row twice
# seeds: {count: 3, from: 100}
"""
