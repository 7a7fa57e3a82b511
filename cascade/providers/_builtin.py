"""The providers of this distribution by name, as its entry points declare them (tests/providers compares the two).

They are looked up here only where there are no entry points of ours: in a source tree that nobody installed.
"""

from __future__ import annotations

__all__ = ["BUILTIN"]

BUILTIN = {
    "dict": "cascade.providers.helpers:DictProvider",
    "format": "cascade.providers.helpers:FormatProvider",
    "fs.exists": "cascade.providers.io:FsExistsProvider",
    "http.delete": "cascade.providers.http:HttpDeleteProvider",
    "http.get": "cascade.providers.http:HttpGetProvider",
    "http.post": "cascade.providers.http:HttpPostProvider",
    "http.put": "cascade.providers.http:HttpPutProvider",
    "http.request": "cascade.providers.http:HttpRequestProvider",
    "io.local.exists": "cascade.providers.io:IoLocalExistsProvider",
    "io.local.read_bytes": "cascade.providers.io:IoLocalReadBytesProvider",
    "io.local.read_text": "cascade.providers.io:IoLocalReadTextProvider",
    "io.local.write_bytes": "cascade.providers.io:IoLocalWriteBytesProvider",
    "io.local.write_text": "cascade.providers.io:IoLocalWriteTextProvider",
    "io.s3.read_bytes": "cascade.providers.s3:S3ReadBytesProvider",
    "io.s3.read_text": "cascade.providers.s3:S3ReadTextProvider",
    "io.s3.write_bytes": "cascade.providers.s3:S3WriteBytesProvider",
    "io.s3.write_text": "cascade.providers.s3:S3WriteTextProvider",
    "io.stdin.read_line": "cascade.providers.stdio:StdInReadLineProvider",
    "io.stdout.write": "cascade.providers.stdio:StdOutWriteProvider",
    "ipfs.add": "cascade.providers.ipfs.provider:IpfsAddProvider",
    "ipfs.cat": "cascade.providers.ipfs.provider:IpfsCatProvider",
    "load_yaml": "cascade.providers.config:YamlLoaderProvider",
    "lookup": "cascade.providers.config:LookupProvider",
    "read.bytes": "cascade.providers.io:ReadBytesProvider",
    "read.text": "cascade.providers.io:ReadTextProvider",
    "recv": "cascade.providers.signal:RecvProvider",
    "shell": "cascade.providers.shell:ShellProvider",
    "sql": "cascade.providers.sql:SqlProvider",
    "subflow": "cascade.providers.subflow:SubflowProvider",
    "template": "cascade.providers.template:TemplateProvider",
    "wait": "cascade.providers.time:TimeWaitProvider",
    "write.bytes": "cascade.providers.io:WriteBytesProvider",
    "write.text": "cascade.providers.io:WriteTextProvider",
}
