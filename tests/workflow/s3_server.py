"""An S3 server on loopback with one empty bucket: prints its address and serves until it is ended."""

import os
import sys
import time

for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
    os.environ[name] = "us-east-1" if name.endswith("REGION") else "test"

import boto3  # noqa: E402 - reads the environment
from moto.server import ThreadedMotoServer  # noqa: E402

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket=sys.argv[1])
print(f"http://{host}:{port}", flush=True)
while True:
    time.sleep(60)
