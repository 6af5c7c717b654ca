"""The PostgreSQL JDBC driver in a Java machine."""

import os

import jpype
from jpype import java


def connect(connection, **more):
    """A connection as libpq writes it, with more properties of the driver."""
    fields = dict(field.split("=", 1) for field in connection.split())
    jpype.startJVM(classpath=[os.environ["CLASSPATH"]])
    jpype.JClass("org.postgresql.Driver")
    properties = java.util.Properties()
    given = {"user": fields["user"], "password": os.environ.get("PGPASSWORD"), **more}
    given |= {name: fields.get(name) for name in ("sslmode", "sslrootcert")}
    for name, value in given.items():
        if value is not None:
            properties.setProperty(name, value)
    url = f"jdbc:postgresql://{fields['host']}:{fields['port']}/tipstream"
    return java.sql.DriverManager.getConnection(url, properties)
