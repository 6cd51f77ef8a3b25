"""What is measured: a module each, with `measure(task) -> values`.

Each raises what `bench.task.EXPECTED` lists, in one line, if its task cannot be measured.
"""
