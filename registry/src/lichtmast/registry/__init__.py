"""The register of tenants, assets, devices, deployments and datastreams."""
