"""Where weights come from: OCI registries, HTTPS servers and S3 stores, behind one small interface."""
