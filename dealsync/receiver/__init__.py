"""What the outside world calls: Lemon Squeezy with its webhooks, buyers with their claim links."""
