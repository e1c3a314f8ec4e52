"""Networks for skeletons, the table of them (registry), and the graphs of the layouts."""
