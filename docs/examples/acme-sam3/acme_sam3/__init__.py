"""What Acme adds to sam3port: a component, a patch and a target."""

from sam3port.hookspecs import hookimpl


@hookimpl
def sam3port_components():
    from acme_sam3.object_pointer import ObjectPointer  # here: importing a plugin has to be cheap

    return [ObjectPointer]


@hookimpl
def sam3port_patches():
    from acme_sam3.version import PATCH  # a declaration: no torch, tvm or numpy

    return [PATCH]


@hookimpl
def sam3port_targets():
    from acme_sam3.plain import PlainTarget

    return [PlainTarget]
