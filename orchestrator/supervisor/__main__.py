"""`python -m orchestrator.supervisor`, which only `client.connect` has reason to call."""

from orchestrator.supervisor.server import main

if __name__ == "__main__":
    main()
