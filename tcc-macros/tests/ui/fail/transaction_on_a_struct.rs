#[tcc::transaction(name = "checkout")]
pub struct Shop;

fn main() {}
