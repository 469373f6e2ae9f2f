"""What a load balancer and an operator ask: alive, connected, ready?"""
