"""What training needs beside the network: data, recipe, steps, and what shows how a run went."""
