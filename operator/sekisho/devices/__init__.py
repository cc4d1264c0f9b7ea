"""The way to devices by their makers' own libraries; what they sign is not believed here."""
