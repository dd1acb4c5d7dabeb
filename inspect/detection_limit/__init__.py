"""The smallest defect that a run would find: known defects injected into good images, and what became of them."""
