"""Release data keys of development models to pods, without evidence. It can open no key of a real key service."""
