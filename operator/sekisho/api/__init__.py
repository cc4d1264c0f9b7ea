"""The custom resources: names, models, and the definitions generated from them."""
