"""The lifecycle diagram of docs/lifecycle.md, drawn from the transition table.

`python -m orchestrator.domain.diagram` prints it.
"""

from __future__ import annotations

from orchestrator.domain.states import TERMINAL, TRANSITIONS, State

BEGIN = "<!-- made by `python -m orchestrator.domain.diagram` -->"
END = "<!-- end -->"


def mermaid() -> str:
    """A Mermaid state diagram with its markers: one arrow for each pair of states."""
    events: dict[tuple[State, State], list[str]] = {}
    for (source, event), target in TRANSITIONS.items():
        events.setdefault((source, target), []).append(event.value)
    arrows = [
        f"    {source} --> {target}: {', '.join(names)}"
        for (source, target), names in events.items()
    ]
    ends = [f"    {state} --> [*]" for state in State if state in TERMINAL]
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> pending", *arrows, *ends, "```"]
    return "\n".join([BEGIN, *lines, END])


if __name__ == "__main__":
    print(mermaid())
