#!/bin/sh
# Stands in for the `wal` command in the tests of the demonstration: does what the file `behave`
# in the directory of the log says. A file of its own, since a program just written may be refused.
set -u
. "$2/behave"
