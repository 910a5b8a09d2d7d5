"""Text for people and for logs: made harmless, and written without waiting for storage.

May import `files`.
"""
