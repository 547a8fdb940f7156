"""The same job in other engines, each as its own documentation would have it written.

Every file is a program of its own, run in an environment of its own (`make peers`), since these
libraries ask for versions that exclude each other and ours. Given a `job.Job` as JSON it reads
`events` records of `topic`, adds up each series in windows of ten seconds of event time, writes
what a window held to `output`, and prints what it took. Detection is left out, to their advantage.
"""
