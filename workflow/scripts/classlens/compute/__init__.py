"""Computation: devices, GPU slots, free RAM, ordered parallel work, and smaller batches when the VRAM is too small."""
