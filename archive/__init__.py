"""What the cameras recorded: stations, nights, layouts, frames, differences, the simulator."""
