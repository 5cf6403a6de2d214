"""The container image and the deployment files, built and run for real without a Docker daemon."""
