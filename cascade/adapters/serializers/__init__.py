"""How values become bytes and values again, wherever they are kept outside of this process.

    from cascade.adapters.serializers import MsgpackSerializer
    serializer = MsgpackSerializer(types=[Point])
    assert serializer.loads(serializer.dumps({"at": Point(1, 2)})) == {"at": Point(1, 2)}

``MsgpackSerializer`` is the default: reading runs no code, whoever wrote the bytes. ``PickleSerializer`` keeps nearly
any object, for those who hold a key.
"""

from __future__ import annotations

from cascade.adapters.serializers.errors import DeserializationError, SerializationError
from cascade.adapters.serializers.msgpack import MsgpackSerializer
from cascade.adapters.serializers.protocol import Serializer
from cascade.adapters.serializers.signed_pickle import PickleSerializer

__all__ = ["DeserializationError", "MsgpackSerializer", "PickleSerializer", "SerializationError", "Serializer"]
