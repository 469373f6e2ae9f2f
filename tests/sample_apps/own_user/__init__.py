"""An API without django.contrib.auth and admin, whose users have an address and no user name."""
