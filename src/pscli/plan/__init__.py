"""What a run will take, before anything of it is loaded: parameters, memory, work."""
