"""Keeper or worker is killed, or stands still."""
