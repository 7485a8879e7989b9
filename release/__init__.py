"""What makes a release of this repository: distributions, bill of materials, the image's check. No part of onegate."""
