"""E-mail: composed, sent by SMTP, and heard of again when it bounces. Knows nothing of deals."""
