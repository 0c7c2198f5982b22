"""The pose solver: from matches of lifted ground points to a pose, a posterior, a confidence."""
