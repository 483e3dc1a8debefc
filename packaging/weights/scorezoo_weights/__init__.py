"""The networks that ship with scorezoo, as files: ``scorezoo.load`` finds them here."""
