# Bugs planted in the shipped code, which the layers above have to find. Every change sees that they can still be
# planted.
tests=()
quick() { scripts/planted --check; }
release() { scripts/planted; }
