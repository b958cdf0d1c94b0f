"""redis-py under each role: pools, pub/sub and a cluster client.

redis_py.py FOLDER PORT CLUSTER_PORT "ROLE COMMAND" ...
"""

import sys

sys.path.insert(0, sys.argv[1])
import redis
from redis.cluster import RedisCluster

port, cluster_port = int(sys.argv[2]), int(sys.argv[3])
print("redis-py", redis.__version__)


def words(command, key):
    return [key if word == "KEY" else word for word in command.split(" ")]


def alone(role, command, protocol):
    pool = redis.BlockingConnectionPool(
        host="127.0.0.1", port=port, db=1, username=role, password="change-me", protocol=protocol,
        client_name="pool", max_connections=4, health_check_interval=1,
    )
    client = redis.Redis(connection_pool=pool)
    taken = [pool.get_connection() for _ in range(4)]
    for connection in taken:
        pool.release(connection)
    client.ping()
    client.execute_command(*words(command, "{team}:" + role))
    pipe = client.pipeline(transaction=True)
    pipe.execute_command(*words(command, "{team}:" + role))
    pipe.ping()
    pipe.execute()
    if role in ("observer", "operator"):
        events = client.pubsub()
        events.psubscribe("__keyevent@0__:*")
        events.subscribe("__keyspace@0__:{team}:" + role)
        for _ in range(2):
            events.get_message(timeout=5)
        events.close()
    pool.disconnect()


def options():
    """Newer versions look up a policy of each command, and fail on names with two dots."""
    try:
        from redis.commands.policies import StaticPolicyResolver
    except ImportError:
        return {}

    class Resolver(StaticPolicyResolver):
        def resolve(self, name):
            return None if name.startswith("ltmc.") else super().resolve(name)

    return {"policy_resolver": Resolver()}


def clustered(role, command):
    client = RedisCluster(host="127.0.0.1", port=cluster_port, username=role, password="change-me", **options())
    for team in ("team", "other-slot"):
        # Of another team only who has all keys may see something.
        if team == "team" or role in ("observer", "operator"):
            key = "{%s}:%s" % (team, role)
            where = {} if "KEY" in command else {"target_nodes": client.get_random_node()}
            client.execute_command(*words(command, key), **where)
    client.ping(target_nodes=RedisCluster.ALL_NODES)
    client.close()


for argument in sys.argv[4:]:
    role, command = argument.split(" ", 1)
    for protocol in (2, 3):
        alone(role, command, protocol)
    clustered(role, command)
    print(role, "works")
