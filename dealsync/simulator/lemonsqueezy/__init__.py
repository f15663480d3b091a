"""The Lemon Squeezy half: store, products, orders, subscriptions, and their REST API."""
