"""Where computations run: devices, GPUs as slots, free memory, and what happens when it runs out."""
