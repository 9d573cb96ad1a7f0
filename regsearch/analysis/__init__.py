"""What the numbers say: statistics of finals, comparison, gaps over trials, pictures, the answer in words.

Nothing is imported here: `pictures` needs matplotlib and `gaps` pandas, and a caller pays for what it uses.
"""

__all__: list[str] = []
