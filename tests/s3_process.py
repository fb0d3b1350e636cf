"""An S3 server on loopback in a process of its own, until its standard input ends.

    python s3_process.py [--closed]

Prints the port. `--closed`: only signed requests are answered, of the one key it prints as well.
"""

from __future__ import annotations

import json
import sys

import boto3
from moto.core import set_initial_no_auth_action_count
from moto.server import ThreadedMotoServer

ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def main() -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    answer = {"port": port, "key": "any", "secret": "any"}
    options = {
        "endpoint_url": f"http://{host}:{port}",
        "region_name": "us-east-1",
        "aws_access_key_id": "any",
        "aws_secret_access_key": "any",
    }
    boto3.client("s3", **options).create_bucket(Bucket="music")
    if "--closed" in sys.argv:
        iam = boto3.client("iam", **options)
        iam.create_user(UserName="nina")
        iam.put_user_policy(UserName="nina", PolicyName="all", PolicyDocument=json.dumps(ALL))
        key = iam.create_access_key(UserName="nina")["AccessKey"]
        answer |= {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
        set_initial_no_auth_action_count(0)(serve)(answer)
    else:
        serve(answer)
    server.stop()


def serve(answer: dict[str, object]) -> None:
    print(json.dumps(answer), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
