import sys

from palate_client.cli import main

sys.exit(main())
