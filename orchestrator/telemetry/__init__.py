"""How the installation is seen from outside: metrics, health over HTTP, logs, traces."""
