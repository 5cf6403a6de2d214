"""From the newest views to what each client is sent: topics, subscriptions, broadcast."""
