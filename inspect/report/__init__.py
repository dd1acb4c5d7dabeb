"""What people see of a run: pictures of its regions and the page that shows them."""
