"""Finding how a part lies in its picture, against a reference picture of the same layout."""
