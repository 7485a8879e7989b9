"""What makes a release of this repository: distributions, bill of materials, page of licences. No part of onegate."""
