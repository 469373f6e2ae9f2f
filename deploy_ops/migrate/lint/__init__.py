"""What is dangerous about migrations before they run: findings, nothing raised."""
