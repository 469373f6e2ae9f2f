"""What Prometheus reads: django-prometheus' numbers and those of the rooms of deploy_ops.

page.py      the answer: middleware and view       access.py    who may ask
rooms.py     what the rooms say (pure reading)     reading.py   asking them without waiting for long
workers.py   counting over all workers of a server failures.py  failed health checks

It needs the extra `deploy-ops[metrics]`; nothing else of deploy_ops imports this room.
"""
