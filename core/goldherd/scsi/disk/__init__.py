"""Commands of a direct access block device that move, compare, fill or free blocks, or change its condition (SBC-3)."""
