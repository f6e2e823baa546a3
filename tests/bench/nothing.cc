// The same static program on both sides of a figure.
int main() { return 0; }
