"""What every nginx of the tests and benchmarks begins with: all that it writes is in one directory."""

from pathlib import Path

CONFIG = """
user root;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
{main}
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{http}
}}
"""


def nginx_config(directory: Path, http: str, main: str = "") -> str:
    """A whole configuration, of what stands in its `http` block (and `main`, outside of it)."""
    return CONFIG.format(directory=directory, http=http, main=main)
