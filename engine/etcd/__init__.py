"""The same conversations on an etcd cluster: `engine.interface.Engine` over etcd's JSON gateway, 3.4 to 3.6."""
