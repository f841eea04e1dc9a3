struct Inventory;

#[tcc::participant(name = "inventory")]
impl Inventory {
    fn count(&self) -> u32 {
        0
    }
}

fn main() {
    assert_eq!(Inventory.count(), 0);
    let _ = tcc::Runtime::builder().participant(Inventory);
}
