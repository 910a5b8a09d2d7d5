"""Storage replaced under running applications: migrate, restore, rebind."""
